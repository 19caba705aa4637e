"""What all HTTP services share: app, access, browsers, errors, health, metrics and server."""
