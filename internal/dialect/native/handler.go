package native

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"connectrpc.com/connect"

	"github.com/keyhold/keyhold/api/keyhold/v1/keyholdv1connect"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// Limits of messages, in bytes.
const (
	MaxMessage = 8 << 20  // of one message, compressed or not
	maxBody    = 9 << 20  // of what is read of one request's body
	compressAt = 16 << 10 // listings shorter than this are not worth compressing
)

// Config is what a handler is made of.
type Config struct {
	Engine *engine.Engine
	Authn  Authenticator
	Logger *slog.Logger // for panics. nil: none
}

// handler routes requests to methods.
type handler struct {
	engine *engine.Engine
	authn  Authenticator
	log    *slog.Logger
	errors *connect.ErrorWriter
	ids    requestIDs
	routes map[string]route
}

// route is where a method's requests go.
type route struct {
	access  access
	lean    *leanMethod // the short path; nil: there is none
	library http.Handler
}

// Handler answers the native protocol for one listener. It expects whole paths (/keyhold.v1.KeyService/CreateKey).
func Handler(cfg Config) http.Handler {
	h := &handler{engine: cfg.Engine, authn: cfg.Authn, log: cfg.Logger, routes: map[string]route{}}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	var random [4]byte
	rand.Read(random[:]) //nolint:errcheck // crypto/rand.Read never returns an error since Go 1.24
	h.ids.prefix = hex.EncodeToString(random[:]) + "-"
	common := []connect.HandlerOption{
		connect.WithReadMaxBytes(MaxMessage), connect.WithInterceptors(&edge{h}),
		connect.WithCodec(strictJSON{"json"}), connect.WithCodec(strictJSON{"json; charset=utf-8"}), connect.WithCodec(strictProto{}),
	}
	h.errors = connect.NewErrorWriter(common...)
	// Answers that hold secrets are never compressed: their length would tell of their content.
	secretive := append([]connect.HandlerOption{connect.WithCompressMinBytes(maxBody)}, common...)
	public := append([]connect.HandlerOption{connect.WithCompressMinBytes(compressAt)}, common...)

	_, keys := keyholdv1connect.NewKeyServiceHandler(keyService{h.engine}, public...)
	_, crypto := keyholdv1connect.NewCryptoServiceHandler(cryptoService{h.engine}, secretive...)
	_, admin := keyholdv1connect.NewAdminServiceHandler(adminService{h.engine}, secretive...)
	_, audit := keyholdv1connect.NewAuditServiceHandler(auditService{h.engine}, public...)
	_, operator := keyholdv1connect.NewOperatorServiceHandler(operatorService{h.engine}, secretive...)
	_, destruction := keyholdv1connect.NewDestructionServiceHandler(destructionService{h.engine}, public...)
	_, usage := keyholdv1connect.NewUsageServiceHandler(usageService{h.engine}, public...)
	_, transfer := keyholdv1connect.NewTransferServiceHandler(transferService{h.engine}, secretive...)
	_, approvals := keyholdv1connect.NewApprovalServiceHandler(approvalService{h.engine}, public...)
	h.add(methodsOf("KeyService"), keys)
	h.add(methodsOf("CryptoService"), crypto)
	h.add(methodsOf("AdminService"), admin)
	h.add(methodsOf("AuditService"), audit)
	h.add(methodsOf("OperatorService"), operator)
	h.add(methodsOf("UsageService"), usage)
	_, dataKeys := keyholdv1connect.NewDataKeyServiceHandler(dataKeyService{h.engine}, secretive...)
	h.add(methodsOf("DataKeyService"), dataKeys)
	h.add(methodsOf("TransferService"), transfer)
	h.add(methodsOf("ApprovalService"), approvals)
	h.add(methodsOf("DestructionService"), destruction)
	_, inventory := keyholdv1connect.NewInventoryServiceHandler(inventoryService{h.engine}, public...)
	h.add(methodsOf("InventoryService"), inventory)
	for path, m := range leanMethods {
		r := h.routes[path]
		r.lean = m
		h.routes[path] = r
	}
	return h
}

// accessTo lists the methods that ask something else of their caller than a credential.
var accessTo = map[string]access{
	keyholdv1connect.OperatorServiceGetStatusProcedure:      anyone,
	keyholdv1connect.OperatorServiceUnsealProcedure:         anyone,
	keyholdv1connect.OperatorServiceEnrollProcedure:         anyone,
	keyholdv1connect.OperatorServiceInitProcedure:           onlyLocal,
	keyholdv1connect.OperatorServiceMintEnrollmentProcedure: onlyLocal,
}

// slowTime is how long the methods of slow may take to answer: they walk the whole store.
const slowTime = 6 * time.Hour

var slow = map[string]bool{
	keyholdv1connect.OperatorServiceExportProcedure:  true,
	keyholdv1connect.AdminServiceCheckStoreProcedure: true,
	keyholdv1connect.AdminServiceRollEpochProcedure:  true,
	keyholdv1connect.AdminServiceRotateRootProcedure: true,
}

func (h *handler) add(paths []string, library http.Handler) {
	for _, path := range paths {
		h.routes[path] = route{access: accessTo[path], library: library}
	}
}

// ServeHTTP finds out who calls, then lets the method answer.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer h.recovered(w, r)
	route, ok := h.routes[r.URL.Path]
	if !ok {
		h.refuse(w, r, unknownMethod(r.URL.Path))
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "this API is called with POST", http.StatusMethodNotAllowed)
		return
	}
	if r.ContentLength > maxBody {
		h.refuse(w, r, kms.Errorf(kms.CodeTooLarge, "the request has %d bytes, the limit is %d", r.ContentLength, MaxMessage))
		return
	}
	x := &exchange{}
	err := h.begin(r, route.access, x)
	if x.call.RequestID != "" {
		w.Header()[headerRequestID] = []string{x.call.RequestID}
	}
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	if route.lean != nil && route.lean.serve(h, w, r, x, route.library) {
		return
	}
	if slow[r.URL.Path] {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(slowTime)) // not every listener has deadlines
	}
	h.byLibrary(w, r, x, route.library)
}

// byLibrary lets the protocol library decode the request, and erases what was released when it is written.
func (h *handler) byLibrary(w http.ResponseWriter, r *http.Request, x *exchange, library http.Handler) {
	defer x.erase()
	r.Body = http.MaxBytesReader(w, wholeBody{r.Body}, maxBody)
	library.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
}

// wholeBody gives the end of a body that came before its time, or cannot be read as it is framed, the name that it has on the short path: the library
// would call it an unknown error, status 500, as if it were the server's.
type wholeBody struct{ io.ReadCloser }

func (b wholeBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	var tooLarge *http.MaxBytesError // of the server's own limit: the library knows it
	if err == nil || errors.Is(err, io.EOF) || errors.As(err, &tooLarge) {
		return n, err
	}
	return n, wireError(kms.Errorf(kms.CodeCancelled, "the request's body ended before its time").Because(err))
}

// recovered answers a panic: the caller learns that something failed, the log learns what.
func (h *handler) recovered(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares by identity too
		panic(p)
	}
	h.refuse(w, r, h.panicked(r.URL.Path, p))
}

func (h *handler) panicked(method string, p any) error {
	h.log.Error("request_panicked", "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return kms.Errorf(kms.CodeInternal, "the server failed to carry out the request")
}

// edge stands around every method: it answers what could not be decoded, turns errors into those of the protocol, and
// keeps panics in.
type edge struct{ h *handler }

// WrapUnary implements connect.Interceptor.
func (e *edge) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (res connect.AnyResponse, err error) {
		defer func() {
			if p := recover(); p != nil {
				res, err = nil, e.h.panicked(req.Spec().Procedure, p)
			}
			if err != nil {
				res, err = nil, wireError(err)
			}
		}()
		if err := undecoded(req.Any()); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// WrapStreamingHandler implements connect.Interceptor.
func (e *edge) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = e.h.panicked(conn.Spec().Procedure, p)
			}
			if err != nil {
				err = wireError(err)
			}
		}()
		return next(ctx, conn)
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (e *edge) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}
