package course

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

const duplicateKey = 11000

// Insert stores documents with one command. Of those whose id was stored before it returns, by index, what was found; a
// note that is stored already counts as stored, another note under its id is for the caller to refuse (Same). An error
// says that the outcome of some is unknown.
func Insert(ctx context.Context, notes *mongo.Collection, documents []Document) (map[int]Document, error) {
	_, err := notes.InsertMany(ctx, documents, options.InsertMany().SetOrdered(false))
	if err == nil {
		return nil, nil
	}
	var bulk mongo.BulkWriteException
	if !errors.As(err, &bulk) || bulk.WriteConcernError != nil {
		return nil, err
	}
	ids := make(map[int]bson.ObjectID, len(bulk.WriteErrors))
	for _, failed := range bulk.WriteErrors {
		if failed.Code != duplicateKey {
			return nil, err
		}
		ids[failed.Index] = documents[failed.Index].ID
	}
	return find(ctx, notes, ids)
}

// InsertOne stores one document; it returns what was stored before under its id, if anything was.
func InsertOne(ctx context.Context, notes *mongo.Collection, document Document) (*Document, error) {
	_, err := notes.InsertOne(ctx, document)
	if !mongo.IsDuplicateKeyError(err) {
		return nil, err
	}
	var earlier Document
	if err := notes.FindOne(ctx, bson.M{"_id": document.ID}).Decode(&earlier); err != nil {
		return nil, err
	}
	return &earlier, nil
}

// Same tells whether a stored document is the note that was to be stored.
func (d Document) Same(note Note) bool { return d.Fields == note.Fields }

// find gets the documents with the given ids, under the same indexes.
func find(ctx context.Context, notes *mongo.Collection, ids map[int]bson.ObjectID) (map[int]Document, error) {
	wanted := make([]bson.ObjectID, 0, len(ids))
	for _, id := range ids {
		wanted = append(wanted, id)
	}
	cursor, err := notes.Find(ctx, bson.M{"_id": bson.M{"$in": wanted}})
	if err != nil {
		return nil, err
	}
	var documents []Document
	if err := cursor.All(ctx, &documents); err != nil {
		return nil, err
	}
	byID := make(map[bson.ObjectID]Document, len(documents))
	for _, document := range documents {
		byID[document.ID] = document
	}
	found := make(map[int]Document, len(ids))
	for index, id := range ids {
		document, ok := byID[id]
		if !ok {
			return nil, fmt.Errorf("the note %s was stored before, and was deleted just now", id.Hex())
		}
		found[index] = document
	}
	return found, nil
}
