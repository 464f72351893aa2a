"""What the offline model can answer, one module for each subject."""
