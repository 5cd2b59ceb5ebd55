"""The speed layer: source → lake writer and speed views. Never imports the batch layer or serving."""
