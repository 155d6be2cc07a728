"""Least squares on one-hot labels with an L2 penalty, solved in closed form in one step."""
