// Command ledger is the storing half of route 1 as the exercise draws it: each gRPC call is one InsertOne.
package main

import (
	"context"
	"log"
	"net"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"courseload/benchmarks/peers/internal/course"
	"courseload/benchmarks/peers/internal/ledgerpb"
)

type server struct {
	ledgerpb.UnimplementedLedgerServer
	notes *mongo.Collection
}

// PutCourse stores one note and answers once MongoDB has acknowledged it.
func (s *server) PutCourse(ctx context.Context, in *ledgerpb.Course) (*ledgerpb.Stored, error) {
	note := course.Note{Curso: in.Curso, Facultad: in.Facultad, Carrera: in.Carrera, Region: in.Region}
	document := course.NewDocument(note, "relay")
	if _, err := s.notes.InsertOne(ctx, document); err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return &ledgerpb.Stored{Id: document.ID.Hex()}, nil
}

func main() {
	notes, err := course.Collection()
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", ":8010")
	if err != nil {
		log.Fatal(err)
	}
	s := grpc.NewServer()
	ledgerpb.RegisterLedgerServer(s, &server{notes: notes})
	log.Fatal(s.Serve(listener))
}
