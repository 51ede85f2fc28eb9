"""The scales: how good is it, in numbers with units."""
