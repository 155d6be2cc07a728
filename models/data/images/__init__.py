"""Pictures as datasets and requests bring them: npz, idx, zips of label folders, PNG and JPEG, and their facts."""
