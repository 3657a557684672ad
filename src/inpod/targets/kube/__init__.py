"""Pods and workloads of a Kubernetes cluster."""
