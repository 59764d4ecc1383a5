(define (problem kitchen)
(:domain alfred)
(:objects
    agent1 - agent
    AppleType - otype
    BreadType - otype
    DeskLampType - otype
    EggType - otype
    KnifeType - otype
    MugType - otype
    PlateType - otype
    PotType - otype
    SpoonType - otype
    WindowType - otype
    CabinetType - rtype
    CounterTopType - rtype
    DrawerType - rtype
    FridgeType - rtype
    MicrowaveType - rtype
    SideTableType - rtype
    SinkType - rtype
    SinkBasinType - rtype
    Apple_bar_1 - object
    Apple_bar_2 - object
    Bread_bar_1 - object
    DeskLamp_bar_1 - object
    DeskLamp_bar_2 - object
    Egg_bar_1 - object
    Knife_bar_1 - object
    Mug_bar_1 - object
    Mug_bar_2 - object
    Plate_bar_1 - object
    Pot_bar_1 - object
    Spoon_bar_1 - object
    Window_bar_1 - object
    Cabinet_bar_1 - receptacle
    Cabinet_bar_2 - receptacle
    CounterTop_bar_1 - receptacle
    Drawer_bar_1 - receptacle
    Fridge_bar_1 - receptacle
    Microwave_bar_1 - receptacle
    SideTable_bar_1 - receptacle
    Sink_bar_1_bar_SinkBasin - receptacle
    loc_bar_1 - location
    loc_bar_2 - location
    loc_bar_3 - location
    loc_bar_4 - location
    loc_bar_5 - location
    loc_bar_6 - location
    loc_bar_9 - location
)
(:init
    (receptacleType Cabinet_bar_1 CabinetType)
    (receptacleType Cabinet_bar_2 CabinetType)
    (receptacleType CounterTop_bar_1 CounterTopType)
    (receptacleType Drawer_bar_1 DrawerType)
    (receptacleType Fridge_bar_1 FridgeType)
    (receptacleType Microwave_bar_1 MicrowaveType)
    (receptacleType SideTable_bar_1 SideTableType)
    (receptacleType Sink_bar_1_bar_SinkBasin SinkBasinType)
    (objectType Apple_bar_1 AppleType)
    (objectType Apple_bar_2 AppleType)
    (objectType Bread_bar_1 BreadType)
    (objectType DeskLamp_bar_1 DeskLampType)
    (objectType DeskLamp_bar_2 DeskLampType)
    (objectType Egg_bar_1 EggType)
    (objectType Knife_bar_1 KnifeType)
    (objectType Mug_bar_1 MugType)
    (objectType Mug_bar_2 MugType)
    (objectType Plate_bar_1 PlateType)
    (objectType Pot_bar_1 PotType)
    (objectType Spoon_bar_1 SpoonType)
    (objectType Window_bar_1 WindowType)
    (canContain CabinetType MugType)
    (canContain CabinetType PlateType)
    (canContain CabinetType PotType)
    (canContain CounterTopType AppleType)
    (canContain CounterTopType BreadType)
    (canContain CounterTopType EggType)
    (canContain CounterTopType KnifeType)
    (canContain CounterTopType MugType)
    (canContain CounterTopType PlateType)
    (canContain CounterTopType PotType)
    (canContain CounterTopType SpoonType)
    (canContain DrawerType KnifeType)
    (canContain DrawerType SpoonType)
    (canContain FridgeType AppleType)
    (canContain FridgeType EggType)
    (canContain FridgeType MugType)
    (canContain FridgeType PotType)
    (canContain MicrowaveType AppleType)
    (canContain MicrowaveType EggType)
    (canContain MicrowaveType MugType)
    (canContain SideTableType AppleType)
    (canContain SideTableType MugType)
    (canContain SinkBasinType AppleType)
    (canContain SinkBasinType MugType)
    (canContain SinkBasinType PotType)
    (openable Cabinet_bar_1)
    (openable Cabinet_bar_2)
    (openable Drawer_bar_1)
    (openable Fridge_bar_1)
    (openable Microwave_bar_1)
    (opened Cabinet_bar_2)
    (atLocation agent1 loc_bar_9)
    (receptacleAtLocation Cabinet_bar_1 loc_bar_1)
    (receptacleAtLocation Cabinet_bar_2 loc_bar_1)
    (receptacleAtLocation CounterTop_bar_1 loc_bar_2)
    (receptacleAtLocation Drawer_bar_1 loc_bar_2)
    (receptacleAtLocation Fridge_bar_1 loc_bar_3)
    (receptacleAtLocation Microwave_bar_1 loc_bar_4)
    (receptacleAtLocation SideTable_bar_1 loc_bar_5)
    (receptacleAtLocation Sink_bar_1_bar_SinkBasin loc_bar_6)
    (pickupable Apple_bar_1)
    (pickupable Apple_bar_2)
    (pickupable Bread_bar_1)
    (pickupable Egg_bar_1)
    (pickupable Knife_bar_1)
    (pickupable Mug_bar_1)
    (pickupable Mug_bar_2)
    (pickupable Plate_bar_1)
    (pickupable Pot_bar_1)
    (pickupable Spoon_bar_1)
    (cleanable Apple_bar_1)
    (cleanable Apple_bar_2)
    (cleanable Mug_bar_1)
    (cleanable Mug_bar_2)
    (cleanable Plate_bar_1)
    (heatable Apple_bar_1)
    (heatable Apple_bar_2)
    (heatable Egg_bar_1)
    (heatable Mug_bar_1)
    (coolable Apple_bar_1)
    (coolable Apple_bar_2)
    (coolable Egg_bar_1)
    (coolable Mug_bar_1)
    (sliceable Apple_bar_1)
    (sliceable Apple_bar_2)
    (sliceable Bread_bar_1)
    (toggleable DeskLamp_bar_1)
    (toggleable DeskLamp_bar_2)
    (isReceptacleObject Pot_bar_1)
    (inReceptacleObject Egg_bar_1 Pot_bar_1)
    (isClean Plate_bar_1)
    (isHot Mug_bar_1)
    (isCool Egg_bar_1)
    (isSliced Bread_bar_1)
    (isToggled DeskLamp_bar_2)
    (inReceptacle Apple_bar_1 CounterTop_bar_1)
    (inReceptacle Apple_bar_2 CounterTop_bar_1)
    (inReceptacle Apple_bar_2 Sink_bar_1_bar_SinkBasin)
    (inReceptacle Bread_bar_1 CounterTop_bar_1)
    (inReceptacle DeskLamp_bar_1 SideTable_bar_1)
    (inReceptacle DeskLamp_bar_2 Drawer_bar_1)
    (inReceptacle Egg_bar_1 Cabinet_bar_2)
    (inReceptacle Knife_bar_1 CounterTop_bar_1)
    (inReceptacle Mug_bar_1 Cabinet_bar_1)
    (inReceptacle Mug_bar_2 Fridge_bar_1)
    (inReceptacle Plate_bar_1 Cabinet_bar_1)
    (inReceptacle Pot_bar_1 Cabinet_bar_2)
    (inReceptacle Spoon_bar_1 Drawer_bar_1)
    (objectAtLocation Apple_bar_1 loc_bar_2)
    (objectAtLocation Apple_bar_2 loc_bar_2)
    (objectAtLocation Bread_bar_1 loc_bar_2)
    (objectAtLocation DeskLamp_bar_1 loc_bar_5)
    (objectAtLocation Egg_bar_1 loc_bar_1)
    (objectAtLocation Knife_bar_1 loc_bar_2)
    (objectAtLocation Mug_bar_1 loc_bar_1)
    (objectAtLocation Mug_bar_2 loc_bar_3)
    (objectAtLocation Plate_bar_1 loc_bar_1)
    (objectAtLocation Pot_bar_1 loc_bar_1)
    (objectAtLocation Spoon_bar_1 loc_bar_2)
    (objectAtLocation Window_bar_1 loc_bar_5)
)
(:goal (and (exists (?r - receptacle) (exists (?o - object) (and
    (inReceptacle ?o ?r) (objectType ?o MugType) (receptacleType ?r SideTableType)
)))))
)
