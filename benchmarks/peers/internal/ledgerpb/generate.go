// Package ledgerpb is the generated code of ledger.proto. It is committed, so that building the peers needs no protoc.
package ledgerpb

// protoc comes with grpcio-tools 1.85.1 (PyPI); the plugins are protoc-gen-go v1.36.12 and protoc-gen-go-grpc v1.6.2.
//go:generate python3 -m grpc_tools.protoc --proto_path=. --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative ledger.proto
