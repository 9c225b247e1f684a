"""What is recorded and in which order data come."""
