"""What was predicted, for whom, by which model: the log that releases and monitors judge by."""
