"""The mathematics: parameters, operations, cells, the network, and the proof of its gradients."""
