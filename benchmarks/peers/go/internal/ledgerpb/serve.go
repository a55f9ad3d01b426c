package ledgerpb

import (
	"context"
	"net"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"courseload/benchmarks/peers/internal/course"
)

// Store stores notes; it returns the documents that were stored before, by index.
type Store func(
	ctx context.Context, notes *mongo.Collection, documents []course.Document,
) (map[int]course.Document, error)

type server struct {
	UnimplementedLedgerServer
	notes *mongo.Collection
	store Store
}

// PutCourses stores a batch and answers once MongoDB has acknowledged it.
func (s *server) PutCourses(ctx context.Context, in *PutCoursesRequest) (*PutCoursesResponse, error) {
	notes := make([]course.Note, len(in.Courses))
	documents := make([]course.Document, len(in.Courses))
	for i, sent := range in.Courses {
		if len(sent.Id) != len(bson.ObjectID{}) {
			return nil, status.Error(codes.InvalidArgument, "an id must have 12 bytes")
		}
		notes[i] = course.Note{ID: bson.ObjectID(sent.Id), Fields: course.Fields{
			Curso: sent.Curso, Facultad: sent.Facultad, Carrera: sent.Carrera, Region: sent.Region,
		}}
		documents[i] = course.NewDocument(notes[i], "relay")
	}
	known, err := s.store(ctx, s.notes, documents)
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	answer := &PutCoursesResponse{}
	for i, document := range known {
		if !document.Same(notes[i]) {
			answer.Failures = append(answer.Failures, &Failure{
				Index: uint32(i), Reason: Failure_REASON_CONFLICT, Message: course.ErrConflict.Error(),
			})
		}
	}
	return answer, nil
}

// Serve answers on port 8010, and says whether MongoDB answers, which it asks every second.
func Serve(store Store) error {
	notes, err := course.Collection()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", ":8010")
	if err != nil {
		return err
	}
	state := health.NewServer()
	go func() {
		for ; ; time.Sleep(time.Second) {
			serving := grpc_health_v1.HealthCheckResponse_SERVING
			if err := course.Ready(context.Background(), notes); err != nil {
				serving = grpc_health_v1.HealthCheckResponse_NOT_SERVING
			}
			state.SetServingStatus("", serving)
		}
	}()
	s := grpc.NewServer()
	RegisterLedgerServer(s, &server{notes: notes, store: store})
	grpc_health_v1.RegisterHealthServer(s, state)
	return s.Serve(listener)
}
