"""Tables as datasets and requests bring them: csv read into typed columns, what a field says, and their facts."""
