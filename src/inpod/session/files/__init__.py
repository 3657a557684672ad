"""Pod files on demand: `replica` is the tree on disk, `service` answers the layer."""
