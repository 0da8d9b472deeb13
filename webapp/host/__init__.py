"""The whole studio on one machine: what `atelier up` starts, watches, restarts and stops."""
