package migrate

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// lent is a request's body that can be taken back: the transport may go on reading it when there is an answer already, and whoever made it wants to erase it.
type lent struct {
	mu    sync.Mutex // guards taken, and b while a view reads it
	b     []byte
	taken bool
}

var errTaken = errors.New("the request is over")

// into makes the bytes the body of a request, and of the same one where a redirect is followed.
func (l *lent) into(r *http.Request) {
	r.ContentLength = int64(len(l.b))
	r.GetBody = func() (io.ReadCloser, error) { return &view{of: l}, nil }
	r.Body = &view{of: l}
	r.Header.Set("Content-Type", "application/json")
}

// takeBack ends all reading.
func (l *lent) takeBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = true
}

type view struct {
	of *lent
	at int
}

func (v *view) Read(p []byte) (int, error) {
	v.of.mu.Lock()
	defer v.of.mu.Unlock()
	switch {
	case v.of.taken:
		return 0, errTaken
	case v.at == len(v.of.b):
		return 0, io.EOF
	}
	n := copy(p, v.of.b[v.at:])
	v.at += n
	return n, nil
}

func (v *view) Close() error { return nil }

var errTooLarge = errors.New("too large")

// readAll reads an answer of a bounded size, and leaves no copy of it behind when it needs more room.
func readAll(r io.Reader, length int64) ([]byte, error) {
	if length > maxAnswer {
		return nil, errTooLarge
	}
	b := make([]byte, 0, max(length, 4096)+1)
	for {
		if len(b) == cap(b) {
			grown := append(make([]byte, 0, 2*cap(b)), b...)
			clear(b)
			b = grown
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > maxAnswer:
			return b, errTooLarge
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return b, err
		}
	}
}
