"""The tests of inpod; see the README of each folder's question in ARCHITECTURE.md."""
