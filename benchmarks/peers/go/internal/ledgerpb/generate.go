// Package ledgerpb is the generated code of courseload's own contract between relay and ledger (protos/courses.proto). It
// is committed, so that building the peers needs no protoc.
package ledgerpb

// protoc comes with grpcio-tools (requirements/); the plugins are protoc-gen-go v1.36.12 and protoc-gen-go-grpc v1.6.2.
//go:generate ../../../../../.venv/bin/python -m grpc_tools.protoc --proto_path=../../../../../protos --go_out=. --go_opt=paths=source_relative,Mcourses.proto=courseload/benchmarks/peers/internal/ledgerpb --go-grpc_out=. --go-grpc_opt=paths=source_relative,Mcourses.proto=courseload/benchmarks/peers/internal/ledgerpb courses.proto
