"""What gRPC and gRPC-Web have in common: frames, deadlines, status fields, compression, and what a call is."""
