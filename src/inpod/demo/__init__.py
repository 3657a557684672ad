"""The demo's own programs: `pod` stands in namespaces of its own, `program` is run in its place. See cli/demo.py."""
