"""Left and right in the names of joints, as public data sets, motion capture and labelling programs write them."""

import pytest
import torch

from unpool.ops.sides import flip_pairs, side_of, unsided
from unpool.ops.skeleton import COCO_NECK_LIMBS, LSP, draw_skeletons

# each pair "left right", then the names that have no partner
NAMED = {
    "coco": ("left_eye right_eye|left_ear right_ear|left_shoulder right_shoulder", "nose"),
    "capital": ("Left_Ear Right_Ear|Left_Eye Right_Eye", "Nose"),
    "capitals": ("LEFT_EYE_INNER RIGHT_EYE_INNER|MOUTH_LEFT MOUTH_RIGHT", "NOSE"),
    "kinect": ("ShoulderLeft ShoulderRight|HandTipLeft HandTipRight", "SpineBase"),
    "openpose": ("LEye REye|LShoulder RShoulder|LBigToe RBigToe", "Nose Neck MidHip"),
    "mpii": ("l_ankle r_ankle|l_hip r_hip", "pelvis thorax upper_neck head_top"),
    "glued": ("lank rank|lkne rkne|lhip rhip|lsho rsho|lelb relb|lwri rwri", "pelv thrx neck head"),
    "ap10k": ("L_Eye R_Eye|L_F_Paw R_F_Paw|L_Hip R_Hip", "Nose Neck"),
    "words": ("left+eye right+eye|left+wing right+wing", "beak tail root+of+tail"),
    "hyphens": ("left-ear right-ear|ear-base-left ear-base-right", "snout"),
    "behind": ("ear_left ear_right|paw_L paw_R|earBaseLeft earBaseRight", "nose"),
    "camel": ("leftEar rightEar|lKnee rKnee|hipL hipR|elbowLeft elbowRight", "headTop"),
    "lower": ("leftear rightear|kneeleft kneeright", "tailbase"),
    "blender": ("hand.L hand.R|thigh_twist_01_l thigh_twist_01_r|IK-Foot.L IK-Foot.R", "spine.001"),
    "biped": ("Bip01+L+Hand Bip01+R+Hand|mixamorig:LeftHandIndex1 mixamorig:RightHandIndex1", "Bip01+Spine"),
    "legs": ("FL FR|RL RR", "hip"),
    "paws": ("LF_paw RF_paw|LHPaw RHPaw|frontLpaw frontRpaw", "tail"),
    "short": ("Lt.+Knee Rt.+Knee|KneeCapLt KneeCapRt|(L)+toe (R)+toe", "sacrum"),
    "faces": ("left_eye_left_corner right_eye_right_corner|left_eye_right_corner right_eye_left_corner", "chin"),
    "counted": ("L1 R1|L2 R2|legL3 legR3|left_hand_L4 right_hand_L4", "T1"),
    "bare": ("l r", "nose"),
    "bare words": ("left right", ""),
    "mixed": ("left_ear R_ear|LEye eye-right|Left+Hip RightHip", "nose"),
    "traps": ("left_ear right_ear", "rear larynx tail collar radial l_ear_tip neck upright"),
    "lone": ("left_hip right_hip", "left_ear rear L_knee RAnkle"),
    "typing": ("left_hip right_hip", "left_knee rihgt_knee"),
    "twice": ("left_hip right_hip", "left_ear L_ear right_ear"),
    "twice right": ("left_hip right_hip", "left_ear right_ear R_ear"),
    "between": ("", "LL LR RL RR"),
    "foreign": ("", "auge_links auge_rechts oreille_gauche oreille_droite"),
    "numbers": ("", "paw_1 paw_2 0 1"),
    "accents": ("Hüfte_L Hüfte_R", "für tür"),
}


def table():
    for name, (pairs, alone) in NAMED.items():
        sides = [[one.replace("+", " ") for one in pair.split()] for pair in pairs.split("|") if pair]
        yield pytest.param(sides, [one.replace("+", " ") for one in alone.split()], id=name)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("pairs", "alone"), list(table()))
def test_sides_are_found_in_names_as_people_write_them(pairs, alone, backwards):
    names = [name for pair in pairs for name in pair] + alone
    names = names[::-1] if backwards else names
    found = {(names[a], names[b]) for a, b in flip_pairs(names)}
    assert found == {(left, right) for left, right in pairs}


def test_pairs_are_in_the_order_of_their_left_joints():
    assert flip_pairs(LSP) == ((3, 2), (4, 1), (5, 0), (9, 8), (10, 7), (11, 6))
    joints = list(dict.fromkeys(name for limb in COCO_NECK_LIMBS for name in limb))
    assert len(flip_pairs(joints)) == 8


@pytest.mark.parametrize(
    ("name", "side", "rest"),
    [
        *(
            ("left_hip", "left", "hip"),
            ("RHip", "right", "hip"),
            ("ear-L", "left", "ear"),
            ("rightear", "right", "ear"),
        ),
        *(("headTop", "", "head_top"), ("rear", "", "rear"), ("cleft", "", "cleft"), ("Rt. knee", "right", "knee")),
        *(("left_hand_R2", "left", "hand_r_2"), ("left_eye_right_corner", "left", "eye_corner"), ("", "", "")),
    ],
)
def test_side_and_the_rest_of_a_name(name, side, rest):
    assert (side_of(name), unsided(name)) == (side, rest)


def test_limbs_of_the_left_are_warm_and_of_the_right_cold_however_they_are_named():
    people = torch.tensor([[[20.0, 20.0], [180.0, 20.0], [20.0, 90.0], [180.0, 90.0], [20.0, 160.0], [180.0, 160.0]]])
    names = ("LHip", "lKnee", "hip-right", "R_Knee", "neck", "rear")
    limbs, shown = ((0, 1), (2, 3), (4, 5)), torch.ones(1, 6, dtype=torch.bool)
    picture = draw_skeletons(torch.zeros(3, 200, 200, dtype=torch.uint8), people, shown, limbs=limbs, sides=names)
    assert [picture[:, y, 100].tolist() for y in (20, 90, 160)] == [[240, 150, 40], [50, 140, 240], [90, 200, 90]]


def test_joint_of_a_small_image_is_drawn_on_its_pixel_of_the_enlarged_one():
    image, joint = torch.zeros(1, 40, 48, dtype=torch.uint8), torch.tensor([[[30.0, 10.0]]])
    picture = draw_skeletons(image, joint, torch.ones(1, 1, dtype=torch.bool), limbs=[])
    assert picture.shape == (3, 160, 192)  # each pixel is 4 x 4
    rows, columns = (picture == 255).all(0).nonzero().double().mean(0).tolist()
    assert (rows, columns) == pytest.approx((41.5, 121.5), abs=0.6)  # the middle of rows 40 to 43, columns 120 to 123
