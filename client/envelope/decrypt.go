package envelope

import (
	"context"
	"io"

	"github.com/keyhold/keyhold/client/envelope/internal/floe"
)

// Reader decrypts a file from its beginning to its end. It is not safe for concurrent use.
type Reader struct {
	stream *floe.Reader
	info   Info
}

// NewReader opens a file: it reads and authenticates the header, asking the recipients' servers for the data key. ctx is for
// those calls. The file must end where src ends.
//
// What Read gives is authenticated, segment by segment. An error other than io.EOF means that the rest is missing or was
// altered: throw away what came before, unless a part of a file is good for something.
func NewReader(ctx context.Context, src io.Reader, opt OpenOptions) (*Reader, error) {
	h, encoded, err := readHeader(src)
	if err != nil {
		return nil, err
	}
	fileKey, err := openKey(ctx, h, encoded, opt)
	if err != nil {
		return nil, err
	}
	defer clear(fileKey)
	key, err := contentKey(fileKey)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	stream, err := floe.NewReader(src, key, h.binding())
	if err != nil {
		return nil, outward(err)
	}
	if stream.SegmentSize() != h.segment {
		stream.Close()
		return nil, ErrCorrupt
	}
	return &Reader{stream, h.info()}, nil
}

// Info is the file's header, authenticated.
func (r *Reader) Info() Info { return r.info }

// Read gives authenticated plaintext; ErrCorrupt if the rest of the file is not what was encrypted.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.stream.Read(p)
	return n, outward(err)
}

// WriteTo gives all the plaintext, a segment at a time.
func (r *Reader) WriteTo(dst io.Writer) (int64, error) {
	n, err := r.stream.WriteTo(dst)
	return n, outward(err)
}

// Close erases the keys. It does not close the source.
func (r *Reader) Close() error {
	r.stream.Close()
	return nil
}

// Decrypt writes the plaintext of a file to dst, each segment after it was authenticated. If it answers an error, what was
// written is not the whole: remove it. Memory does not grow with the size.
func Decrypt(ctx context.Context, dst io.Writer, src io.Reader, opt OpenOptions) (Info, error) {
	r, err := NewReader(ctx, interruptible{ctx, src}, opt)
	if err != nil {
		return Info{}, err
	}
	defer r.Close() //nolint:errcheck // it has no error
	if _, err := r.WriteTo(dst); err != nil {
		return Info{}, err
	}
	return r.info, nil
}

// ReaderAt decrypts any part of a file. It is safe for concurrent use.
type ReaderAt struct {
	stream *floe.ReaderAt
	info   Info
}

// NewReaderAt opens a file of a known length, in bytes, for reading at any place. It authenticates the header and the last
// segment, and with them the length. ctx is for calls to the recipients' servers.
func NewReaderAt(ctx context.Context, src io.ReaderAt, length int64, opt OpenOptions) (*ReaderAt, error) {
	h, encoded, err := readHeader(io.NewSectionReader(src, 0, length))
	if err != nil {
		return nil, err
	}
	fileKey, err := openKey(ctx, h, encoded, opt)
	if err != nil {
		return nil, err
	}
	defer clear(fileKey)
	key, err := contentKey(fileKey)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	at := int64(len(encoded) + macSize)
	stream, err := floe.NewReaderAt(io.NewSectionReader(src, at, length-at), length-at, key, h.binding())
	if err != nil {
		return nil, outward(err)
	}
	if stream.SegmentSize() != h.segment {
		return nil, ErrCorrupt
	}
	return &ReaderAt{stream, h.info()}, nil
}

// Info is the file's header, authenticated.
func (r *ReaderAt) Info() Info { return r.info }

// Size is the number of bytes of plaintext, authenticated.
func (r *ReaderAt) Size() int64 { return r.stream.Size() }

// ReadAt gives authenticated plaintext from an offset: len(p) bytes, or fewer with io.EOF at the end. If a segment that it needs is
// not what was encrypted: ErrCorrupt, with the number of bytes that came before.
func (r *ReaderAt) ReadAt(p []byte, at int64) (int, error) {
	n, err := r.stream.ReadAt(p, at)
	return n, outward(err)
}

// Close erases the keys. It does not close the source.
func (r *ReaderAt) Close() error { return r.stream.Close() }
