package ledgerpb

import (
	"context"
	"errors"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"courseload/benchmarks/peers/internal/course"
)

// Ledger is a ledger's client, for both ways to use it: a note a call, and a batch a call.
type Ledger struct {
	ledger LedgerClient
	health grpc_health_v1.HealthClient
}

// Connect uses LEDGER_ADDRESS.
func Connect() (*Ledger, error) {
	conn, err := grpc.NewClient(os.Getenv("LEDGER_ADDRESS"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &Ledger{NewLedgerClient(conn), grpc_health_v1.NewHealthClient(conn)}, nil
}

// Put stores notes with one call; it returns why a note was not stored, by index.
func (l *Ledger) Put(ctx context.Context, notes []course.Note) (map[int]error, error) {
	request := &PutCoursesRequest{Courses: make([]*Course, len(notes))}
	for i, note := range notes {
		request.Courses[i] = &Course{
			Id:       note.ID[:],
			Curso:    note.Curso,
			Facultad: note.Facultad,
			Carrera:  note.Carrera,
			Region:   note.Region,
		}
	}
	answer, err := l.ledger.PutCourses(ctx, request)
	if err != nil || len(answer.Failures) == 0 {
		return nil, err
	}
	failures := make(map[int]error, len(answer.Failures))
	for _, failure := range answer.Failures {
		if failure.Reason == Failure_REASON_CONFLICT {
			failures[int(failure.Index)] = course.ErrConflict
		} else {
			failures[int(failure.Index)] = errors.New(failure.Message)
		}
	}
	return failures, nil
}

// Ready tells whether the ledger has its database.
func (l *Ledger) Ready(ctx context.Context) error {
	answer, err := l.health.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err == nil && answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		err = errors.New("the ledger is not ready")
	}
	return err
}
