"""What every process needs: settings, logging, files, signals."""
