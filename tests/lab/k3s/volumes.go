package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	storage "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
)

const (
	storageDirectory = dataDirectory + "/storage"
	provisioner      = "rancher.io/local-path"

	// What Kubernetes and provisioners tell each other by annotations.
	asksProvisioner = "volume.kubernetes.io/storage-provisioner"
	selectedNode    = "volume.kubernetes.io/selected-node"
	provisionedBy   = "pv.kubernetes.io/provisioned-by"
)

// volumes are those of the class local-path on this node: a directory for each claim, on the node that the scheduler has
// chosen for the first pod that uses it.
type volumes struct {
	client *kubernetes.Clientset
	node   string
}

// provide makes a volume for each claim that waits for this node, and removes those of claims that are gone.
func provide(p *processes, client *kubernetes.Clientset, own node) {
	v := volumes{client, own.name}
	factory := informers.NewSharedInformerFactory(client, 0)
	claims, present := factory.Core().V1().PersistentVolumeClaims(), factory.Core().V1().PersistentVolumes()
	classes := factory.Storage().V1().StorageClasses()
	watched := []cache.SharedIndexInformer{claims.Informer(), present.Informer(), classes.Informer()}
	onChange(p, "volumes", factory, watched, func(ctx context.Context) error {
		// The cache lists what is there; it does not fail.
		wanted, _ := claims.Lister().List(labels.Everything())
		found, _ := present.Lister().List(labels.Everything())
		return errors.Join(v.make(ctx, wanted, classes.Lister()), v.remove(ctx, found))
	})
}

// make provides for the claims that wait. One that fails does not hold up the others.
func (v volumes) make(ctx context.Context, claims []*corev1.PersistentVolumeClaim, classes storage.StorageClassLister) error {
	var failed []error
	for _, claim := range claims {
		asked := claim.Annotations[asksProvisioner] == provisioner && claim.Annotations[selectedNode] == v.node
		if !asked || claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil || claim.Spec.StorageClassName == nil {
			continue
		}
		class, err := classes.Get(*claim.Spec.StorageClassName)
		if err == nil {
			err = v.makeOne(ctx, claim, class)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("claim %s/%s: %w", claim.Namespace, claim.Name, err))
		}
	}
	return errors.Join(failed...)
}

func (v volumes) makeOne(ctx context.Context, claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) error {
	if mode := claim.Spec.VolumeMode; mode != nil && *mode != corev1.PersistentVolumeFilesystem {
		return errors.New("a directory cannot be a block device")
	}
	for _, access := range claim.Spec.AccessModes {
		if access != corev1.ReadWriteOnce && access != corev1.ReadWriteOncePod {
			return fmt.Errorf("a directory of one node cannot be %s, only ReadWriteOnce or ReadWriteOncePod", access)
		}
	}
	volume := v.describe(claim, class)
	directory := volume.Spec.Local.Path
	if err := os.MkdirAll(storageDirectory, 0o700); err != nil {
		return err
	}
	// Whatever user its pod runs as, it can write.
	if err := errors.Join(os.MkdirAll(directory, 0o777), os.Chmod(directory, 0o777)); err != nil {
		return err
	}
	_, err := v.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil // and the claim is about to be bound
	}
	if err == nil {
		log.Printf("made %s", directory)
	}
	return err
}

// describe is the volume for a claim, as the API has it.
func (v volumes) describe(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) *corev1.PersistentVolume {
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "pvc-" + string(claim.UID),
			Annotations: map[string]string{provisionedBy: provisioner},
		},
		Spec: corev1.PersistentVolumeSpec{
			AccessModes: claim.Spec.AccessModes,
			Capacity:    corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			MountOptions: class.MountOptions,
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
					{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{v.node}},
				}}},
			}},
			StorageClassName: class.Name,
			VolumeMode:       claim.Spec.VolumeMode,
		},
	}
	if class.ReclaimPolicy != nil {
		volume.Spec.PersistentVolumeReclaimPolicy = *class.ReclaimPolicy
	}
	volume.Spec.Local = &corev1.LocalVolumeSource{Path: directoryOf(volume)}
	return volume
}

// remove deletes this node's volumes whose claims are gone, and what is in them, where their policy is Delete.
func (v volumes) remove(ctx context.Context, present []*corev1.PersistentVolume) error {
	var failed []error
	for _, volume := range present {
		if volume.Status.Phase != corev1.VolumeReleased || !v.owns(volume) ||
			volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
			continue
		}
		directory := directoryOf(volume)
		err := os.RemoveAll(directory)
		if err == nil {
			err = v.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{})
		}
		if err != nil && !apierrors.IsNotFound(err) {
			failed = append(failed, fmt.Errorf("volume %s: %w", volume.Name, err))
			continue
		}
		log.Printf("removed %s", directory)
	}
	return errors.Join(failed...)
}

// owns tells whether a volume was made here.
func (v volumes) owns(volume *corev1.PersistentVolume) bool {
	affinity := volume.Spec.NodeAffinity
	if volume.Annotations[provisionedBy] != provisioner || affinity == nil || affinity.Required == nil {
		return false
	}
	for _, term := range affinity.Required.NodeSelectorTerms {
		for _, match := range term.MatchExpressions {
			if match.Key == corev1.LabelHostname && slices.Equal(match.Values, []string{v.node}) {
				return true
			}
		}
	}
	return false
}

// directoryOf follows from names alone: the path in a volume's description could be any.
func directoryOf(volume *corev1.PersistentVolume) string {
	claim := volume.Spec.ClaimRef
	return filepath.Join(storageDirectory, fmt.Sprintf("%s_%s_%s", volume.Name, claim.Namespace, claim.Name))
}
