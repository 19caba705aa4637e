"""What every process needs: settings, logging, files and signals."""
