package native

import (
	"context"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// destructionService is keyhold.v1.DestructionService.
type destructionService struct{ engine *engine.Engine }

func (s destructionService) ReadReceipt(ctx context.Context, r *connect.Request[keyholdv1.ReadReceiptRequest]) (*connect.Response[keyholdv1.ReadReceiptResponse], error) {
	if (r.Msg.GetKey() == "") == (r.Msg.GetNamespace() == "") {
		return nil, kms.Errorf(kms.CodeBadRequest, "name one of key and namespace")
	}
	if r.Msg.GetKey() != "" {
		return receiptAnswer(s.engine.ReadReceipt(ctx, callOf(ctx), engine.KeyInput{Key: kms.Ref(r.Msg.GetKey())}))
	}
	c, err := within(ctx, r.Msg.GetNamespace())
	if err != nil {
		return nil, err
	}
	return receiptAnswer(s.engine.ReadNamespaceReceipt(ctx, c, engine.NamespaceInput{Name: c.Namespace}))
}

func receiptAnswer(out engine.ReceiptOutput, err error) (*connect.Response[keyholdv1.ReadReceiptResponse], error) {
	d := &out.Destruction
	return answer(&keyholdv1.ReadReceiptResponse{
		Destruction: &keyholdv1.Destruction{
			State: d.State, Namespace: string(d.Namespace), KeyId: idText(d.Key), Name: d.Name, RequestedAt: stamp(d.RequestedAt), RequestedBy: d.RequestedBy,
			Reason: d.Reason, Approval: idText(d.Approval), ApprovedBy: d.ApprovedBy, DestroyAt: stamp(d.DestroyAt), ErasedAt: stamp(d.Erased),
			LastEpoch: d.Epoch, IrrecoverableAt: stamp(d.Irrecoverable), Keys: d.Keys, DataKeys: d.DataKeys, Principals: d.Principals,
		},
		Note: out.Note, VerifierKey: out.VerifierKey,
	}, err)
}

func (s destructionService) ScheduleNamespaceDestruction(ctx context.Context, r *connect.Request[keyholdv1.ScheduleNamespaceDestructionRequest]) (*connect.Response[keyholdv1.ScheduleNamespaceDestructionResponse], error) {
	c, err := within(ctx, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	window, err := span(r.Msg.GetWindow(), "window")
	if err != nil {
		return nil, err
	}
	out, err := s.engine.ScheduleNamespaceDestruction(ctx, c, engine.NamespaceDestroyInput{Name: c.Namespace, Window: window})
	return answer(&keyholdv1.ScheduleNamespaceDestructionResponse{
		Namespace: namespaceMessage(&out.Namespace), Keys: out.Keys, DataKeys: out.DataKeys, Principals: out.Principals, More: out.More,
	}, err)
}

func (s destructionService) CancelNamespaceDestruction(ctx context.Context, r *connect.Request[keyholdv1.CancelNamespaceDestructionRequest]) (*connect.Response[keyholdv1.NamespaceResponse], error) {
	c, err := within(ctx, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	return namespaceAnswer(s.engine.CancelNamespaceDestruction(ctx, c, engine.NamespaceInput{Name: c.Namespace}))
}
