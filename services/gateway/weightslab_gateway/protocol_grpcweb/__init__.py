"""gRPC-Web over HTTP/1.1: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md."""
