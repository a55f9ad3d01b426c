// Package web is the HTTP side of the peers: it takes notes, checks them, and answers once they are stored.
package web

import (
	"context"
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/gin-gonic/gin/binding"
	"github.com/go-playground/validator/v10"
	"github.com/go-playground/validator/v10/non-standard/validators"

	"courseload/benchmarks/peers/internal/course"
)

const maxBody = 16 << 10

// Store stores one note; it returns course.ErrConflict if another note has its id.
type Store func(ctx context.Context, note course.Note) error

// Ready says what keeps the route from storing notes, if anything does.
type Ready func(ctx context.Context) error

// Router answers POST /course with 201 once store has returned, and tells what is wrong otherwise: 400, 413 or 415 for a
// bad request, 422 for another note under the same key, 503 for a note that could not be stored.
func Router(route string, store Store, ready Ready) (*gin.Engine, error) {
	gin.SetMode(gin.ReleaseMode)
	binding.EnableDecoderDisallowUnknownFields = true
	if rules, ok := binding.Validator.Engine().(*validator.Validate); ok {
		if err := rules.RegisterValidation("notblank", validators.NotBlank); err != nil {
			return nil, err
		}
	}
	router := gin.New()
	router.Use(gin.Recovery())
	router.GET("/readyz", func(c *gin.Context) {
		if err := ready(c.Request.Context()); err != nil {
			refuse(c, http.StatusServiceUnavailable, err)
			return
		}
		c.JSON(http.StatusOK, gin.H{"status": "ok"})
	})
	router.POST("/course", func(c *gin.Context) {
		c.Header("X-Route", route)
		note, status, err := read(c)
		if err != nil {
			refuse(c, status, err)
			return
		}
		switch err := store(c.Request.Context(), note); {
		case err == nil:
			c.JSON(http.StatusCreated, gin.H{"id": note.ID.Hex(), "route": route})
		case errors.Is(err, course.ErrConflict):
			refuse(c, http.StatusUnprocessableEntity, err)
		default:
			c.Header("Retry-After", "1")
			refuse(c, http.StatusServiceUnavailable, err)
		}
	})
	return router, nil
}

// read gets the note from a request, or the status to refuse it with.
func read(c *gin.Context) (course.Note, int, error) {
	var note course.Note
	if c.ContentType() != binding.MIMEJSON {
		return note, http.StatusUnsupportedMediaType, errors.New("the Content-Type must be application/json")
	}
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxBody)
	var tooLarge *http.MaxBytesError
	if err := c.ShouldBindJSON(&note.Fields); errors.As(err, &tooLarge) {
		return note, http.StatusRequestEntityTooLarge, err
	} else if err != nil {
		return note, http.StatusBadRequest, err
	}
	var err error
	if note.ID, err = course.NewID(c.Request.Header.Values("Idempotency-Key")); err != nil {
		return note, http.StatusBadRequest, err
	}
	return note, http.StatusOK, nil
}

func refuse(c *gin.Context, status int, err error) {
	c.JSON(status, gin.H{"error": err.Error()})
}
