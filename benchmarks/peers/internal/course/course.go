// Package course is what the peers share: the note, its validation, and the collection it is stored in.
package course

import (
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-gonic/gin/binding"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Note is the body of POST /course: every field required, at most 128 characters, nothing else allowed.
type Note struct {
	Curso    string `json:"curso"    binding:"required,max=128"`
	Facultad string `json:"facultad" binding:"required,max=128"`
	Carrera  string `json:"carrera"  binding:"required,max=128"`
	Region   string `json:"region"   binding:"required,max=128"`
}

// Document is a stored note, with the same fields as courseload's own documents.
type Document struct {
	ID       bson.ObjectID `bson:"_id"`
	Curso    string        `bson:"curso"`
	Facultad string        `bson:"facultad"`
	Carrera  string        `bson:"carrera"`
	Region   string        `bson:"region"`
	Route    string        `bson:"route"`
	At       time.Time     `bson:"at"`
}

// NewDocument gives a note its id and the time it was accepted.
func NewDocument(note Note, route string) Document {
	return Document{
		ID:       bson.NewObjectID(),
		Curso:    note.Curso,
		Facultad: note.Facultad,
		Carrera:  note.Carrera,
		Region:   note.Region,
		Route:    route,
		At:       time.Now().UTC(),
	}
}

// Store stores one note and returns its id, 24 hexadecimal digits.
type Store func(c *gin.Context, note Note) (string, error)

// Router answers POST /course with 201 once store has returned, 400 for a bad note and 503 when it could not be stored.
func Router(route string, store Store) *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	binding.EnableDecoderDisallowUnknownFields = true
	router := gin.New()
	router.Use(gin.Recovery())
	router.POST("/course", func(c *gin.Context) {
		var note Note
		if err := c.ShouldBindJSON(&note); err != nil {
			c.JSON(http.StatusBadRequest, gin.H{"error": err.Error()})
			return
		}
		id, err := store(c, note)
		if err != nil {
			c.JSON(http.StatusServiceUnavailable, gin.H{"error": err.Error()})
			return
		}
		c.Header("X-Route", route)
		c.JSON(http.StatusCreated, gin.H{"id": id, "route": route})
	})
	return router
}

// Collection connects to MONGODB_URI with the driver's default pool, and returns "notes" in MONGODB_DATABASE.
func Collection() (*mongo.Collection, error) {
	client, err := mongo.Connect(options.Client().ApplyURI(os.Getenv("MONGODB_URI")))
	if err != nil {
		return nil, fmt.Errorf("connecting to MongoDB: %w", err)
	}
	return client.Database(os.Getenv("MONGODB_DATABASE")).Collection("notes"), nil
}
