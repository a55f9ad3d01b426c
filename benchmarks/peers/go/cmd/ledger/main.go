// Command ledger is the storing half of route 1 with group commit: each gRPC call is one InsertMany.
package main

import (
	"log"

	"courseload/benchmarks/peers/internal/course"
	"courseload/benchmarks/peers/internal/ledgerpb"
)

func main() {
	log.Fatal(ledgerpb.Serve(course.Insert))
}
