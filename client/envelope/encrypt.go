package envelope

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"io"
	"maps"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/client/envelope/internal/floe"
)

func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// Options say how a file is encrypted.
type Options struct {
	// Recipients, 1 to MaxRecipients of them: each can open the file.
	Recipients []Recipient
	// Context is authenticated with the file and readable in it: it is not secret. A Keyhold server sees it, and its policies
	// can depend on it.
	Context client.Context
	// SegmentSize is MinSegmentSize to MaxSegmentSize; 0: DefaultSegmentSize.
	SegmentSize int
}

// Writer encrypts a file. It is not safe for concurrent use.
type Writer struct {
	stream *floe.Writer
	info   Info
	used   []func(int64)
	n      int64
}

// wrapAll wraps the file key for recipients.
func wrapAll(ctx context.Context, f *file, fileKey []byte, recipients []Recipient) (all []stanza, used []func(int64), err error) {
	for _, r := range recipients {
		if r == nil {
			return nil, nil, optionsf("a recipient is nil")
		}
		if err := r.check(); err != nil {
			return nil, nil, err
		}
	}
	for _, r := range recipients {
		s, u, err := r.wrap(ctx, f, fileKey)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, s)
		if u != nil {
			used = append(used, u)
		}
	}
	return all, used, nil
}

// finish completes a header with its code and answers its encoding.
func (h *header) finish(fileKey []byte) ([]byte, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	encoded := h.encode()
	if len(encoded)-prefixSize+macSize > MaxHeader {
		return nil, optionsf("the header has more than %d bytes", MaxHeader)
	}
	var err error
	if h.code, err = codeOf(fileKey, encoded); err != nil {
		return nil, err
	}
	return append(encoded, h.code[:]...), nil
}

// NewWriter asks the recipients' servers for data keys and writes the header to dst. ctx is for those calls. The file is
// complete, and can be read, only when Close was called; a file that was given up with Abort cannot be read as a whole one.
func NewWriter(ctx context.Context, dst io.Writer, opt Options) (*Writer, error) {
	h := &header{segment: opt.SegmentSize, context: maps.Clone(opt.Context)}
	if h.segment == 0 {
		h.segment = DefaultSegmentSize
	}
	// All of it once before a server is asked, with the recipients' kinds alone.
	for _, r := range opt.Recipients {
		s := stanza{}
		if _, ok := r.(Passphrase); ok {
			s.kind = KindPassphrase
		}
		h.recipients = append(h.recipients, s)
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	rand.Read(h.id[:]) //nolint:errcheck // crypto/rand.Read never returns an error since Go 1.24: it ends the process
	fileKey := make([]byte, fileKeySize)
	rand.Read(fileKey) //nolint:errcheck // as above
	defer clear(fileKey)

	w := &Writer{}
	f := h.file()
	var err error
	if h.recipients, w.used, err = wrapAll(ctx, f, fileKey, opt.Recipients); err != nil {
		return nil, err
	}
	encoded, err := h.finish(fileKey)
	if err != nil {
		return nil, err
	}
	key, err := contentKey(fileKey)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	if _, err := dst.Write(encoded); err != nil {
		return nil, err
	}
	w.info = h.info()
	w.stream, err = floe.NewWriter(dst, key, f.binding, h.segment)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Info is the header that was written.
func (w *Writer) Info() Info { return w.info }

// Write encrypts p; what does not fill a segment is kept until there is more.
func (w *Writer) Write(p []byte) (int, error) {
	n, err := w.stream.Write(p)
	w.n += int64(n)
	return n, err
}

// ReadFrom encrypts all that src gives. It does not end the file.
func (w *Writer) ReadFrom(src io.Reader) (int64, error) {
	n, err := w.stream.ReadFrom(src)
	w.n += n
	return n, err
}

// Close ends the file. It does not close the destination.
func (w *Writer) Close() error {
	w.count()
	return w.stream.Close()
}

// Abort gives the file up and erases its keys.
func (w *Writer) Abort() {
	w.count()
	w.stream.Abort()
}

func (w *Writer) count() {
	for _, used := range w.used {
		used(w.n)
	}
	w.used = nil
}

// Encrypt encrypts all that src gives into a file that it writes to dst. If it answers an error, what was written cannot be
// read as a whole file and should be removed. Memory does not grow with the size.
func Encrypt(ctx context.Context, dst io.Writer, src io.Reader, opt Options) (Info, error) {
	w, err := NewWriter(ctx, dst, opt)
	if err != nil {
		return Info{}, err
	}
	if _, err := w.ReadFrom(interruptible{ctx, src}); err != nil {
		w.Abort()
		return Info{}, err
	}
	return w.info, w.Close()
}

// interruptible ends with the context's error.
type interruptible struct {
	ctx context.Context
	io.Reader
}

func (r interruptible) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
