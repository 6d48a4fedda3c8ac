"""What a frozen backbone answers, computed once and kept."""
