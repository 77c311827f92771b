package native

import (
	"context"
	"strconv"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// keyService is keyhold.v1.KeyService.
type keyService struct{ engine *engine.Engine }

func keyAnswer(out engine.KeyOutput, err error) (*connect.Response[keyholdv1.KeyResponse], error) {
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(keyResponse(&out)), nil
}

func keyResponse(out *engine.KeyOutput) *keyholdv1.KeyResponse {
	return &keyholdv1.KeyResponse{Key: keyMessage(&out.Key), Versions: each(out.Versions, versionMessage)}
}

func (s keyService) CreateKey(ctx context.Context, r *connect.Request[keyholdv1.CreateKeyRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	dates, err := datesOf(r.Msg)
	if err != nil {
		return nil, err
	}
	period, err := periodIf(r.Msg.GetCryptoperiod())
	if err != nil {
		return nil, err
	}
	return keyAnswer(create(ctx, s.engine, callOf(ctx), r.Msg.GetAlgorithm(), r.Msg.GetUsage(), engine.CreateKeyInput{
		Name: r.Msg.GetName(), Description: r.Msg.GetDescription(), Labels: r.Msg.GetLabels(), Aliases: r.Msg.GetAliases(), Bytes: int(r.Msg.GetBytes()),
		Import: r.Msg.GetImport(), Exportable: r.Msg.GetExportable(),
		Dates: dates, Freeze: r.Msg.GetFreeze(), ProcessDeactivated: r.Msg.GetProcessDeactivated(),
		Template: r.Msg.GetTemplate(), Class: r.Msg.GetDataClass(), Period: period,
	}))
}

// create reads the words for algorithm and usage.
func create(ctx context.Context, e *engine.Engine, c kms.Call, algorithm, usage string, in engine.CreateKeyInput) (out engine.KeyOutput, err error) {
	if algorithm != "" || in.Template == "" && in.Class == "" { // otherwise the template says it
		if in.Algorithm, err = kms.ParseAlgorithm(algorithm); err != nil {
			return out, err
		}
	}
	if in.Usage, err = kms.ParseUsage(usage); err != nil {
		return out, err
	}
	return e.CreateKey(ctx, c, in)
}

func (s keyService) DescribeKey(ctx context.Context, r *connect.Request[keyholdv1.DescribeKeyRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	return keyAnswer(s.engine.DescribeKey(ctx, callOf(ctx), engine.KeyInput{Key: kms.Ref(r.Msg.GetKey())}))
}

func (s keyService) ListKeys(ctx context.Context, r *connect.Request[keyholdv1.ListKeysRequest]) (*connect.Response[keyholdv1.ListKeysResponse], error) {
	filter, err := keyFilter(r.Msg)
	if err != nil {
		return nil, err
	}
	out, err := s.engine.ListKeys(ctx, callOf(ctx), engine.ListKeysInput{Filter: filter, Page: r.Msg.GetPageToken(), Limit: int(r.Msg.GetPageSize())})
	return answer(&keyholdv1.ListKeysResponse{Keys: each(out.Keys, keyMessage), NextPageToken: out.Next}, err)
}

// keyQuery is what requests select keys by.
type keyQuery interface {
	GetNamePrefix() string
	GetAlgorithm() string
	GetUsage() string
	GetState() string
	GetLabels() map[string]string
}

func keyFilter(m keyQuery) (f engine.KeyFilter, err error) {
	f.NamePrefix, f.Labels = m.GetNamePrefix(), m.GetLabels()
	if m.GetAlgorithm() != "" {
		if f.Algorithm, err = kms.ParseAlgorithm(m.GetAlgorithm()); err != nil {
			return f, err
		}
	}
	if f.Usage, err = kms.ParseUsage(m.GetUsage()); err != nil {
		return f, err
	}
	if m.GetState() != "" {
		var ok bool
		if f.Switch, ok = kms.ParseSwitch(m.GetState()); !ok {
			return f, kms.Errorf(kms.CodeBadRequest, "%q is not the state of a key", clip(m.GetState()))
		}
	}
	return f, nil
}

func (s keyService) ListVersions(ctx context.Context, r *connect.Request[keyholdv1.ListVersionsRequest]) (*connect.Response[keyholdv1.ListVersionsResponse], error) {
	in := engine.VersionsInput{Key: kms.Ref(r.Msg.GetKey()), Limit: int(r.Msg.GetPageSize())}
	if token := r.Msg.GetPageToken(); token != "" {
		before, err := strconv.ParseUint(token, 10, 32)
		if err != nil || before == 0 {
			return nil, kms.Errorf(kms.CodeBadToken, "the page token is not one that this server gave out")
		}
		in.Before = uint32(before)
	}
	out, err := s.engine.ListVersions(ctx, callOf(ctx), in)
	m := &keyholdv1.ListVersionsResponse{Versions: each(out.Versions, versionMessage)}
	if out.Next != 0 {
		m.NextPageToken = strconv.FormatUint(uint64(out.Next), 10)
	}
	return answer(m, err)
}

func (s keyService) UpdateKey(ctx context.Context, r *connect.Request[keyholdv1.UpdateKeyRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	return keyAnswer(s.engine.UpdateKey(ctx, callOf(ctx), engine.UpdateKeyInput{
		Key: kms.Ref(r.Msg.GetKey()), Name: r.Msg.Name, Description: r.Msg.Description, Class: r.Msg.DataClass, SetLabels: r.Msg.GetSetLabels(), RemoveLabels: r.Msg.GetRemoveLabels(),
		AddAliases: r.Msg.GetAddAliases(), RemoveAliases: r.Msg.GetRemoveAliases(), IfRev: kms.Rev(r.Msg.GetIfRevision()),
		Freeze: r.Msg.Freeze, ProcessDeactivated: r.Msg.ProcessDeactivated,
	}))
}

func (s keyService) RotateKey(ctx context.Context, r *connect.Request[keyholdv1.RotateKeyRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	dates, err := datesOf(r.Msg)
	if err != nil {
		return nil, err
	}
	in := engine.RotateKeyInput{Key: kms.Ref(r.Msg.GetKey()), Dates: dates, Generate: r.Msg.GetGenerate()}
	if name := r.Msg.GetAlgorithm(); name != "" {
		if in.Algorithm, err = kms.ParseAlgorithm(name); err != nil {
			return nil, err
		}
	}
	return keyAnswer(s.engine.RotateKey(ctx, callOf(ctx), in))
}

func (s keyService) ScheduleRotation(ctx context.Context, r *connect.Request[keyholdv1.ScheduleRotationRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	in := engine.ScheduleRotationInput{Key: kms.Ref(r.Msg.GetKey())}
	if period, err := periodIf(r.Msg.GetCryptoperiod()); err != nil {
		return nil, err
	} else if period != nil {
		in.Period = *period
	}
	return keyAnswer(s.engine.ScheduleRotation(ctx, callOf(ctx), in))
}

func (s keyService) ReportRotations(ctx context.Context, r *connect.Request[keyholdv1.ReportRotationsRequest]) (*connect.Response[keyholdv1.ReportRotationsResponse], error) {
	out, err := s.engine.RotationReport(ctx, callOf(ctx), engine.RotationReportInput{NamePrefix: r.Msg.GetNamePrefix(), Page: r.Msg.GetPageToken(), Limit: int(r.Msg.GetPageSize())})
	return answer(&keyholdv1.ReportRotationsResponse{NextPageToken: out.Next, Rotations: each(out.Rows, func(r *engine.RotationRow) *keyholdv1.RotationStatus {
		return &keyholdv1.RotationStatus{
			Key: keyMessage(&r.Key), Missed: r.Missed, FailedAttempts: r.Failed, RetryAt: stamp(r.RetryAt), Failure: r.Failure,
			SelfTest: r.SelfTest, SelfTestError: r.Error, Operations: r.Operations, Bytes: r.Bytes,
		}
	})}, err)
}

func (s keyService) EnableKey(ctx context.Context, r *connect.Request[keyholdv1.EnableKeyRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	return keyAnswer(s.engine.EnableKey(ctx, callOf(ctx), engine.KeyInput{Key: kms.Ref(r.Msg.GetKey())}))
}

func (s keyService) DisableKey(ctx context.Context, r *connect.Request[keyholdv1.DisableKeyRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	return keyAnswer(s.engine.DisableKey(ctx, callOf(ctx), engine.KeyInput{Key: kms.Ref(r.Msg.GetKey())}))
}

func (s keyService) SuspendKey(ctx context.Context, r *connect.Request[keyholdv1.SuspendKeyRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	return keyAnswer(s.engine.SuspendKey(ctx, callOf(ctx), engine.KeyInput{Key: kms.Ref(r.Msg.GetKey())}))
}

func (s keyService) ResumeKey(ctx context.Context, r *connect.Request[keyholdv1.ResumeKeyRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	return keyAnswer(s.engine.ResumeKey(ctx, callOf(ctx), engine.KeyInput{Key: kms.Ref(r.Msg.GetKey())}))
}

func (s keyService) ScheduleKeyDestruction(ctx context.Context, r *connect.Request[keyholdv1.ScheduleKeyDestructionRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	window, err := span(r.Msg.GetWindow(), "window")
	if err != nil {
		return nil, err
	}
	return keyAnswer(s.engine.ScheduleKeyDestruction(ctx, callOf(ctx), engine.DestroyInput{Key: kms.Ref(r.Msg.GetKey()), Window: window}))
}

func (s keyService) CancelKeyDestruction(ctx context.Context, r *connect.Request[keyholdv1.CancelKeyDestructionRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	return keyAnswer(s.engine.CancelKeyDestruction(ctx, callOf(ctx), engine.CancelInput{Key: kms.Ref(r.Msg.GetKey())}))
}
