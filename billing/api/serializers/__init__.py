"""What bodies hold, per noun: what is taken and what is answered."""
