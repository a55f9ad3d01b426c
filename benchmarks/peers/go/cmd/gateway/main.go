// Command gateway is the HTTP half of route 1 with group commit: a batch is one gRPC call to ledger.
package main

import (
	"log"

	"courseload/benchmarks/peers/internal/batch"
	"courseload/benchmarks/peers/internal/ledgerpb"
	"courseload/benchmarks/peers/internal/web"
)

const writesAtOnce = 2 // while one batch is in the database, the next can be on its way

func main() {
	ledger, err := ledgerpb.Connect()
	if err != nil {
		log.Fatal(err)
	}
	router, err := web.Router("relay", batch.NewWriter(ledger.Put, writesAtOnce).Store, ledger.Ready)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(router.Run(":8000"))
}
