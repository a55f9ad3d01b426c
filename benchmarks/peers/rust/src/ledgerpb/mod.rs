//! The generated code of courseload's own contract between relay and ledger (protos/courses.proto). It is committed, so
//! that building the peers needs no protoc.

// To make it again, in this directory; protoc comes with grpcio-tools (requirements/):
//     cargo install protoc-gen-prost@0.5.0 protoc-gen-tonic@0.5.0
//     ../../../../../.venv/bin/python -m grpc_tools.protoc --proto_path=../../../../../protos \
//         --prost_out=. --prost_opt=flat_output_dir --tonic_out=. --tonic_opt=flat_output_dir courses.proto

include!("courseload.v1.rs");
