"""What a training would need on machines that are not at hand: memory, communication, time and storage."""
