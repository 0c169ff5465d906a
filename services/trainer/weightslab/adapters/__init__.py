"""Other people's training loops, one module each; every one needs its own extra, as `weightslab[lightning]`."""
