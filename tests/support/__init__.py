"""What tests of several kinds share: real servers and real services as processes."""
