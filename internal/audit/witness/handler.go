package witness

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/keyhold/keyhold/internal/audit/tree"
)

// Handler answers over HTTP:
//
//	POST /add-checkpoint    C2SP tlog-witness
//	GET  /checkpoints       the newest checkpoint of every origin, with the witness's cosignature
//	GET  /health            200
//
// There is no authentication beyond the signature on the checkpoint.
func (w *Witness) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", w.addCheckpoint)
	mux.HandleFunc("GET /checkpoints", func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err := w.WriteCheckpoints(out); err != nil {
			w.cfg.Logger.Warn("checkpoints_not_answered", "error", err)
			panic(http.ErrAbortHandler) // part of it is out: the connection must not look whole
		}
	})
	mux.HandleFunc("GET /health", func(out http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(out, "ok\n") })
	return mux
}

// sizeType is the media type of the size in a conflict (C2SP tlog-witness, add-checkpoint).
const sizeType = "text/x.tlog.size"

// statuses are those that C2SP tlog-witness gives; what it does not know of is the witness's own trouble.
var statuses = []struct {
	err    error
	status int
}{
	{ErrMalformed, http.StatusBadRequest},
	{ErrUnknown, http.StatusNotFound},
	{ErrUnsigned, http.StatusForbidden},
	{ErrInconsistent, http.StatusUnprocessableEntity},
	{ErrMismatch, http.StatusConflict}, // and no size: that would be the one that the client named
	{ErrFull, http.StatusInsufficientStorage},
}

func (w *Witness) addCheckpoint(out http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(out, r.Body, tree.MaxExtension))
	if err != nil {
		status := http.StatusBadRequest
		if errors.As(err, new(*http.MaxBytesError)) {
			status = http.StatusRequestEntityTooLarge
		}
		http.Error(out, fmt.Sprintf("the request cannot be read; the limit is %d bytes", tree.MaxExtension), status)
		return
	}
	line, err := w.Add(text)
	if err == nil {
		out.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(out, line) // who hung up asks again
		return
	}
	var conflict *Conflict
	if errors.As(err, &conflict) {
		out.Header().Set("Content-Type", sizeType)
		out.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(out, strconv.FormatUint(conflict.Size, 10)+"\n")
		return
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			http.Error(out, s.err.Error(), s.status)
			return
		}
	}
	w.cfg.Logger.Error("checkpoint_not_cosigned", "error", err)
	http.Error(out, "the witness cannot keep the checkpoint", http.StatusInternalServerError)
}
