"""Where and how it is computed: device, precision, gradients, workers."""
