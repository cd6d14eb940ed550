"""From the target to the unlearned model: two gradients, weights, a step, until it is enough."""
