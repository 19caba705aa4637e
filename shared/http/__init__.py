"""What every HTTP service needs: app, access, problems, health, metrics and the server."""
