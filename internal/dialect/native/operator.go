package native

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// Limits of operators' secrets, in bytes.
const (
	maxPassphrase = 1024
	maxShare      = 1024
	maxShares     = 255
	maxCode       = 256
	exportChunk   = 256 << 10
)

// custodian stands for whoever unseals over the network: that they hold a share is all that is known of them.
var custodian = &kms.Principal{Name: "custodian", Namespace: kms.SystemNamespace, Method: kms.AuthShares}

// operatorService is keyhold.v1.OperatorService.
type operatorService struct{ engine *engine.Engine }

// statusMessage is the server's condition; who the recipients are is told to callers who are known only.
func statusMessage(s *engine.Status, trusted bool) *keyholdv1.ServerStatus {
	m := &keyholdv1.ServerStatus{
		Initialised: s.Initialised, Sealed: s.Sealed, Development: s.Dev, Ready: s.Ready,
		Threshold: uint32(s.Threshold), //nolint:gosec // G115: at most 255
	}
	for _, n := range s.Given {
		if trusted {
			m.SharesGiven = append(m.SharesGiven, uint32(n)) //nolint:gosec // G115: at most 255
		} else {
			m.SharesGiven = append(m.SharesGiven, 0) // how many, not whose
		}
	}
	if s.Problem != nil {
		m.Problem = detailOf(s.Problem)
	}
	if !trusted {
		return m
	}
	m.Clock = clockMessage(&s.Clock)
	m.RotationsMissed, m.RotationsFailed = uint64(s.Missed), uint64(s.Failing) //nolint:gosec // G115: counts
	m.Memory = &keyholdv1.SecretMemory{Kind: s.Memory.Kind.String(), Full: s.Memory.Full, Erasing: s.Erasing}
	m.ClusterId, m.RootGeneration, m.AuditKey, m.Epoch = idText(s.Cluster), s.RootGen, s.AuditKey, s.Epoch
	m.Recipients = each(s.Recipients, func(r *engine.RecipientInfo) *keyholdv1.Recipient {
		return &keyholdv1.Recipient{Id: r.ID, Kind: r.Kind, Label: r.Label, Fingerprint: r.Fingerprint}
	})
	return m
}

func (s operatorService) GetStatus(ctx context.Context, _ *connect.Request[keyholdv1.GetStatusRequest]) (*connect.Response[keyholdv1.GetStatusResponse], error) {
	st := s.engine.Status(ctx)
	x := exchangeOf(ctx)
	m := statusMessage(&st, x.trusted)
	if x.trusted {
		m.AuditSinks = sinkMessages(st.Sinks, x.call.Principal)
		m.Witnesses = witnessMessages(st.Witnesses)
	}
	return answer(&keyholdv1.GetStatusResponse{Status: m}, nil)
}

// hidden takes a secret out of a request: nil if there is none.
func hidden(b []byte, most int, what string) (*secret.Bytes, error) {
	if len(b) > most {
		clear(b)
		return nil, kms.Errorf(kms.CodeTooLarge, "the %s has %d bytes, the limit is %d", what, len(b), most)
	}
	if len(b) == 0 {
		return nil, nil
	}
	return secret.Take(b), nil
}

func (s operatorService) Init(ctx context.Context, r *connect.Request[keyholdv1.InitRequest]) (*connect.Response[keyholdv1.InitResponse], error) {
	if r.Msg.GetShares() > maxShares || r.Msg.GetThreshold() > maxShares {
		return nil, kms.Errorf(kms.CodeBadRequest, "%d shares of which %d open the root key were asked for: want 2 to %d shares", r.Msg.GetShares(), r.Msg.GetThreshold(), maxShares)
	}
	in := engine.InitInput{Shares: int(r.Msg.GetShares()), Threshold: int(r.Msg.GetThreshold())}
	var err error
	if in.Passphrase, err = hidden(r.Msg.GetPassphrase(), maxPassphrase, "passphrase"); err != nil {
		return nil, err
	}
	defer in.Passphrase.Zero()
	if in.KeyFile, err = hidden(r.Msg.GetKeyFile(), maxPassphrase, "key file"); err != nil {
		return nil, err
	}
	defer in.KeyFile.Zero()
	out, err := s.engine.Init(ctx, callOf(ctx), in)
	if err != nil {
		return nil, err
	}
	x := exchangeOf(ctx)
	m := &keyholdv1.InitResponse{ClusterId: out.Cluster.String(), AuditKey: out.AuditKey, Enrollment: enrollment(x, &out.Enrollment)}
	for _, share := range out.Shares {
		m.Shares = append(m.Shares, string(x.keep(share)))
	}
	return connect.NewResponse(m), nil
}

func enrollment(x *exchange, e *engine.Enrollment) *keyholdv1.Enrollment {
	return &keyholdv1.Enrollment{Code: string(x.keep(e.Code)), ExpiresAt: stamp(e.Expires)}
}

func (s operatorService) Unseal(ctx context.Context, r *connect.Request[keyholdv1.UnsealRequest]) (*connect.Response[keyholdv1.UnsealResponse], error) {
	var in engine.UnsealInput
	var err error
	switch step := r.Msg.GetStep().(type) {
	case *keyholdv1.UnsealRequest_Share:
		in.Share, err = hidden([]byte(step.Share), maxShare, "share")
	case *keyholdv1.UnsealRequest_Passphrase:
		in.Passphrase, err = hidden(step.Passphrase, maxPassphrase, "passphrase")
	case *keyholdv1.UnsealRequest_KeyFile:
		in.KeyFile, err = hidden(step.KeyFile, maxPassphrase, "key file")
	case *keyholdv1.UnsealRequest_Reset_:
		in.Reset = step.Reset_
	}
	if err != nil {
		return nil, err
	}
	defer in.Share.Zero()
	defer in.Passphrase.Zero()
	defer in.KeyFile.Zero()
	if in == (engine.UnsealInput{}) {
		return nil, kms.Errorf(kms.CodeBadRequest, "the request holds no step: want a share, a passphrase, a key file, or reset")
	}
	x := exchangeOf(ctx)
	c := x.call
	if c.Principal == nil {
		c.Principal = custodian
	}
	if c.Namespace == "" {
		c.Namespace = kms.SystemNamespace
	}
	out, err := s.engine.Unseal(ctx, c, in)
	return answer(&keyholdv1.UnsealResponse{Status: statusMessage(&out, x.trusted)}, err)
}

func (s operatorService) Seal(ctx context.Context, _ *connect.Request[keyholdv1.SealRequest]) (*connect.Response[keyholdv1.SealResponse], error) {
	out, err := s.engine.Seal(ctx, callOf(ctx))
	return answer(&keyholdv1.SealResponse{Status: statusMessage(&out, true)}, err)
}

// clockMessage is nil as long as dates go by the machine's clock.
func clockMessage(c *engine.ClockStatus) *keyholdv1.ClockStatus {
	if !c.Suspended && c.Behind == 0 {
		return nil
	}
	m := &keyholdv1.ClockStatus{Time: stamp(c.Time), Machine: stamp(c.Wall), Trusted: stamp(c.Trusted), DestructionSuspended: c.Suspended}
	if c.Behind > 0 {
		m.Behind = durationpb.New(c.Behind)
	}
	return m
}

func (s operatorService) ConfirmClock(ctx context.Context, r *connect.Request[keyholdv1.ConfirmClockRequest]) (*connect.Response[keyholdv1.ConfirmClockResponse], error) {
	in := engine.ConfirmClockInput{}
	if t := r.Msg.GetTime(); t != nil {
		if err := t.CheckValid(); err != nil {
			return nil, kms.Errorf(kms.CodeBadRequest, "the time is not one: want a time from year 1 to 9999")
		}
		in.Time = t.AsTime()
	}
	out, err := s.engine.ConfirmClock(ctx, callOf(ctx), in)
	if err != nil {
		return nil, err
	}
	m := &keyholdv1.ConfirmClockResponse{From: stamp(out.From), To: stamp(out.To)}
	st := s.engine.Status(ctx)
	m.Status = statusMessage(&st, exchangeOf(ctx).trusted)
	return connect.NewResponse(m), nil
}

func (s operatorService) Enroll(ctx context.Context, r *connect.Request[keyholdv1.EnrollRequest]) (*connect.Response[keyholdv1.EnrollResponse], error) {
	code, err := hidden([]byte(r.Msg.GetCode()), maxCode, "enrolment code")
	if err != nil {
		return nil, err
	}
	if code == nil {
		return nil, kms.Errorf(kms.CodeBadRequest, "the request holds no enrolment code")
	}
	defer code.Zero()
	out, err := s.engine.Enroll(ctx, callOf(ctx), engine.EnrollInput{Code: code, Principal: r.Msg.GetPrincipal()})
	return answer(&keyholdv1.EnrollResponse{Secret: newToken(ctx, &out), Token: tokenMessage(&out.Info)}, err)
}

func (s operatorService) MintEnrollment(ctx context.Context, r *connect.Request[keyholdv1.MintEnrollmentRequest]) (*connect.Response[keyholdv1.MintEnrollmentResponse], error) {
	if len(r.Msg.GetShares()) > maxShares {
		return nil, kms.Errorf(kms.CodeTooLarge, "%d shares were given, the limit is %d", len(r.Msg.GetShares()), maxShares)
	}
	var in engine.MintInput
	defer func() {
		for _, share := range in.Shares {
			share.Zero()
		}
	}()
	for _, text := range r.Msg.GetShares() {
		share, err := hidden([]byte(text), maxShare, "share")
		if err != nil {
			return nil, err
		}
		in.Shares = append(in.Shares, share)
	}
	out, err := s.engine.MintEnrollment(ctx, callOf(ctx), in)
	return answer(&keyholdv1.MintEnrollmentResponse{Enrollment: enrollment(exchangeOf(ctx), &out)}, err)
}

func (s operatorService) Export(ctx context.Context, r *connect.Request[keyholdv1.ExportRequest], stream *connect.ServerStream[keyholdv1.ExportResponse]) error {
	if err := undecoded(r.Msg); err != nil {
		return err
	}
	w := &chunks{send: func(b []byte) error {
		return stream.Send(&keyholdv1.ExportResponse{Part: &keyholdv1.ExportResponse_Data{Data: b}})
	}}
	rev, err := s.engine.ExportStore(ctx, callOf(ctx), w)
	if err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	return stream.Send(&keyholdv1.ExportResponse{Part: &keyholdv1.ExportResponse_Revision{Revision: uint64(rev)}})
}

// chunks gathers what is written into messages of exportChunk bytes.
type chunks struct {
	held []byte
	send func([]byte) error
}

// Write implements io.Writer.
func (c *chunks) Write(b []byte) (int, error) {
	total := len(b)
	for len(b) > 0 {
		n := min(len(b), exportChunk-len(c.held))
		c.held = append(c.held, b[:n]...)
		b = b[n:]
		if len(c.held) == exportChunk {
			if err := c.flush(); err != nil {
				return total - len(b), err
			}
		}
	}
	return total, nil
}

func (c *chunks) flush() error {
	if len(c.held) == 0 {
		return nil
	}
	err := c.send(c.held)
	c.held = c.held[:0]
	return err
}
