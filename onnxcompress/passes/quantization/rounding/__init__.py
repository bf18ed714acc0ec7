"""What integers and biases of a quantized model still gain in closed form: second-order rounding, bias correction."""
