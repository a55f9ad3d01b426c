// Command plain-gateway is the HTTP half of route 1 as the exercise draws it: each request becomes one gRPC call.
package main

import (
	"context"
	"log"

	"courseload/benchmarks/peers/internal/course"
	"courseload/benchmarks/peers/internal/ledgerpb"
	"courseload/benchmarks/peers/internal/web"
)

func main() {
	ledger, err := ledgerpb.Connect()
	if err != nil {
		log.Fatal(err)
	}
	store := func(ctx context.Context, note course.Note) error {
		failures, err := ledger.Put(ctx, []course.Note{note})
		if err != nil {
			return err
		}
		return failures[0]
	}
	router, err := web.Router("relay", store, ledger.Ready)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(router.Run(":8000"))
}
