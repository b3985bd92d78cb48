"""What a user writes today to train the same networks on the same pictures."""
