// Command plain-ledger is the storing half of route 1 as the exercise draws it: each gRPC call is one InsertOne.
package main

import (
	"context"
	"log"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"courseload/benchmarks/peers/internal/course"
	"courseload/benchmarks/peers/internal/ledgerpb"
)

// insert stores the one document of a call.
func insert(
	ctx context.Context, notes *mongo.Collection, documents []course.Document,
) (map[int]course.Document, error) {
	earlier, err := course.InsertOne(ctx, notes, documents[0])
	if err != nil || earlier == nil {
		return nil, err
	}
	return map[int]course.Document{0: *earlier}, nil
}

func main() {
	log.Fatal(ledgerpb.Serve(insert))
}
