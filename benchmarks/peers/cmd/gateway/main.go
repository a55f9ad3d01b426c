// Command gateway is the HTTP half of route 1 as the exercise draws it: each request becomes one gRPC call to ledger.
package main

import (
	"log"
	"os"

	"github.com/gin-gonic/gin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"courseload/benchmarks/peers/internal/course"
	"courseload/benchmarks/peers/internal/ledgerpb"
)

func main() {
	conn, err := grpc.NewClient(os.Getenv("LEDGER_ADDRESS"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	ledger := ledgerpb.NewLedgerClient(conn)
	router := course.Router("relay", func(c *gin.Context, note course.Note) (string, error) {
		stored, err := ledger.PutCourse(c.Request.Context(), &ledgerpb.Course{
			Curso:    note.Curso,
			Facultad: note.Facultad,
			Carrera:  note.Carrera,
			Region:   note.Region,
		})
		return stored.GetId(), err
	})
	log.Fatal(router.Run(":8000"))
}
